"""
The predictors of PPO, A2C, TRPO, MaskablePPO and RecurrentPPO answer as SB3's `predict` does.
"""

import pytest
from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, PPO

from tests.golden.predictors import check_predictor
from tests.golden.recipes import COMPILED, ESSENTIAL
from tests.thorough import chosen

ON_POLICY = (PPO, A2C, TRPO, MaskablePPO, RecurrentPPO)


@pytest.mark.parametrize("name", chosen((one.name for one in ESSENTIAL if one.algorithm in ON_POLICY), *COMPILED))
def test_the_predictor_answers_as_sb3_does(name, tmp_path):
    check_predictor(name, tmp_path)
