"""
Contestants that have a memory hand it on, and are compared with what the agent answers.
"""

import numpy as np

from benchmarks.kinds import answers, entrants, following


def test_the_state_is_fed_back():
    asked = []

    def predict(observation, state, episode_start):
        asked.append((observation, state, episode_start))
        return observation * 10, (state or 0) + 1

    call = following(predict, episode_start=False)
    assert [call(value) for value in (3, 4, 5)] == [30, 40, 50]
    assert asked == [(3, None, False), (4, 1, False), (5, 2, False)]
    assert following(predict, episode_start=False)(6) == 60
    assert asked[-1] == (6, None, False)


def test_who_answers_otherwise_than_the_agent():
    questions = [np.full(2, value, np.float32) for value in range(4)]
    expected = answers(lambda question: question + 1, questions)
    calls = {
        "same": lambda question: question + 1.00001,
        "other": lambda question: question + 1 + (question[0] == 2),
    }
    same, other = entrants(calls, questions, expected)
    assert (same.name, same.note) == ("same", "")
    assert (other.name, other.note) == ("other", "DISAGREES on 1 of 4 observations")


def test_actions_may_be_plain_numbers():
    expected = answers(lambda question: np.array(question), [0, 1, 1])
    (found,) = entrants({"ints": lambda question: 1}, [0, 1, 1], expected)
    assert found.note == "DISAGREES on 1 of 3 observations"
