"""Capacity and promises, as pure functions: what there is, what is promised, what would fit."""

from commonpool.ledger.admission import Alternative, Check, Decision, admit, admit_each, problems
from commonpool.ledger.amount import Amount
from commonpool.ledger.ledger import Ledger, Live, Row

__all__ = ["Alternative", "Amount", "Check", "Decision", "Ledger", "Live", "Row", "admit", "admit_each", "problems"]
