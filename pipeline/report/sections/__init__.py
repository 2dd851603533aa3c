"""One file per section of the report; pipeline/contracts/section.py is the contract."""
