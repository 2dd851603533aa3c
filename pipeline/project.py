"""Where convline's code is, and the project that it works on: in a clone both are one folder.

No other module finds either by its own path, so that a project may become a folder of its own.
"""

from pathlib import Path

#: the folder of pipeline/, flows/ and convline/
CODE = Path(__file__).parent.parent
#: the folder of params.yaml, dvc.yaml, plugins/ and all results
ROOT = CODE
