"""One file per architecture; parts/ holds shared code. pipeline/contracts/architecture.py is the contract."""
