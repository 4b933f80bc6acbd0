"""Amounts of money."""

from decimal import Decimal

from schema.declare import described, object_type


@object_type("An exact amount of money.")
class Money:
    amount: Decimal = described("How much, with every decimal that it has.")
    currency: str = described("Of which currency: its ISO 4217 code.")
