"""The command `convline`: what a person does beside `make repro`. flows/ and pipeline/ know nothing of it."""
