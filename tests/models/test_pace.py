"""What refusals teach: chance teaches nothing, a full endpoint narrows the width to what it takes."""

import random

from selftune.models.pace import Width


class Endpoint:
    """Takes so many requests at a time, each for ten turns, and refuses the rest at once."""

    def __init__(self, room: int, width: Width, chance: float = 0.0) -> None:
        self.room, self.width, self.chance = room, width, chance
        self.dice = random.Random(1)
        self.taken: list[tuple[int, int]] = []
        self.refused = self.answered = self.pauses = 0

    def turn(self, now: int) -> None:
        """Answer what is due, then take what the width lets through, as much as comes back."""
        for due, number in [one for one in self.taken if one[0] <= now]:
            self.taken.remove((due, number))
            self.width.answered(number)
            self.answered += 1
        for _ in range(20):
            if len(self.taken) >= self.width.now:
                break
            number = self.width.send()
            if len(self.taken) < self.room and self.dice.random() >= self.chance:
                self.taken.append((now + 10, number))
            else:
                self.refused += 1
                self.pauses += self.width.refused(number, len(self.taken))

    def run(self, turns: int) -> None:
        for now in range(turns):
            self.turn(now)


def test_a_random_refusal_now_and_then_changes_nothing() -> None:
    for most in (50, 100, 500):
        endpoint = Endpoint(10_000, Width(most), chance=0.05)
        endpoint.run(200)
        assert endpoint.refused > 0.04 * endpoint.answered
        assert (endpoint.width.now, endpoint.pauses) == (most, 0)


def test_a_full_endpoint_gets_as_much_as_it_takes_and_few_requests_more() -> None:
    endpoint = Endpoint(10, Width(100))
    endpoint.run(1)
    assert endpoint.width.now == 10
    early = endpoint.refused
    endpoint.run(1000)
    assert endpoint.answered > 900  # of 1000 that it could have answered
    assert endpoint.refused - early < 0.1 * endpoint.answered


def test_the_width_grows_back_when_there_is_room_again() -> None:
    endpoint = Endpoint(10, Width(100))
    endpoint.run(100)
    assert endpoint.width.now <= 11
    endpoint.room = 10_000
    endpoint.run(300)
    assert endpoint.width.now == 100


def test_an_endpoint_that_refuses_everything_is_left_alone() -> None:
    endpoint = Endpoint(0, Width(100))
    endpoint.run(1)
    assert endpoint.width.now == 1
    assert endpoint.pauses > 0


def test_a_high_share_of_refusals_narrows_and_pauses() -> None:
    endpoint = Endpoint(10_000, Width(100), chance=0.4)
    endpoint.run(50)
    assert endpoint.width.now < 100
    assert endpoint.pauses > 0
