"""The one family of errors that a user can cause."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence: what was found, what is needed, what to do. The command line
    prints it alone and ends with exit code 2.
    """
