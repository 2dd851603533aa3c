"""One file per task, optional: first jobs for `convline add`; pipeline/contracts/recipe.py is the contract."""
