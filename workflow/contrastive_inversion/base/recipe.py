"""A recipe: all that a product's content depends on, typed, and the only thing that a job is told."""

from typing import Any, Self

from pydantic import Field

from contrastive_inversion.base.settings import Seed, Settings


class Recipe(Settings):
    """What every recipe holds; each kind of job has a class of its own with its settings.

    inputs: the products that this one is made from, each with the digest of its own recipe; sparing: products that
    spare it work and change nothing in its content, so that its digest does not know them.
    """

    seed: Seed
    inputs: dict[str, str]
    sparing: list[str] = Field([], exclude=True)

    @property
    def waits_for(self) -> list[str]:
        """The products that have to be there before this one's job."""
        return [*self.inputs, *self.sparing]

    @classmethod
    def of(cls, *needed: str, **content: Any) -> Self:
        """A recipe whose input products are named; the plan fills in their digests."""
        return cls(inputs=dict.fromkeys(needed, ""), **content)
