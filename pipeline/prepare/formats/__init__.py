"""One file, one format of raw data; parts/ holds shared code. pipeline/contracts/format.py is the contract."""
