"""Files that tests write again under the names of others: what was read of their code is forgotten."""

from theory_checks.ledger import code_version


def forget_code() -> None:
    for function in vars(code_version).values():
        getattr(function, "cache_clear", lambda: None)()
