"""How a face moves between looks: a small Kalman filter in time over its centre and the log of its size.

A state is [5, t, 3] for t faces: position, velocity, variance of position, of both together, of velocity; of
x and y of the centre in pixels and of the log of the size; per second. Costs are negative log likelihoods, up
to a constant, so that what is measured in face sizes and seconds needs no other unit.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Motion: a velocity that drifts back to rest (Ornstein-Uhlenbeck), for x, y (face sizes) and log size.
_VELOCITY_VARIANCE: Final = np.array([2.8, 2.8, 0.2]) ** 2  # per second, squared
_VELOCITY_MEMORY_S: Final = 4.5
BOX_VARIANCE: Final = 0.085**2  # jitter of a detector's box, in each of the three
_MOTION_TAIL: Final = 6.0  # degrees of freedom of Student's t: surprises cost much, but not everything


def squared_scale(position: Floats) -> Floats:
    """Squared pixels per face size for x and y, 1 for the log size: [t, 3]."""
    scale = np.ones_like(position)
    scale[:, :2] = np.exp(2.0 * position[:, 2:])
    return scale


def fresh(measured: Floats) -> Floats:
    """States [5, t, 3] of faces seen for the first time: their speed is anybody's."""
    scale = squared_scale(measured)
    state = np.zeros((5, *measured.shape))
    state[0] = measured
    state[2] = BOX_VARIANCE * scale
    state[4] = _VELOCITY_VARIANCE * scale
    return state


def predict(state: Floats, dt: Floats, scale: Floats) -> Floats:
    """States [5, t, 3] after dt [t, 1] seconds without a look."""
    position, velocity, own, both, moving = state
    tau = _VELOCITY_MEMORY_S
    keep = np.exp(-dt / tau)
    reach = tau * (1.0 - keep)
    drift = _VELOCITY_VARIANCE * scale
    later = np.empty_like(state)
    later[0] = position + reach * velocity
    later[1] = keep * velocity
    later[2] = own + reach * (2.0 * both + reach * moving)
    later[2] += drift * (tau * (2.0 * dt - tau * (3.0 - keep * (4.0 - keep))))
    later[3] = keep * (both + reach * moving) + drift * (reach * reach / tau)
    later[4] = keep * keep * moving + drift * (1.0 - keep * keep)
    return later


def update(state: Floats, noise: Floats, measured: Floats) -> Floats:
    """States [5, t, 3] after a look at each track's own row of `measured` (Kalman filter)."""
    position, velocity, own, both, moving = state
    total = own + noise
    gain, gain_velocity = own / total, both / total
    error = measured - position
    return np.stack(
        [
            position + gain * error,
            velocity + gain_velocity * error,
            gain * noise,
            gain_velocity * noise,
            moving - gain_velocity * both,
        ]
    )


def motion_costs(state: Floats, noise: Floats, measured: Floats) -> Floats:
    """What each face's position [faces, 3] costs for each track's expected state, [tracks, faces]."""
    spread = state[2] + noise
    surprise = ((measured - state[0][:, None]) ** 2 / spread[:, None]).sum(axis=2)
    motion = 0.5 * (_MOTION_TAIL + 3.0) * np.log1p(surprise / _MOTION_TAIL)
    costs: Floats = motion + 0.5 * np.log((spread / noise).prod(axis=1))[:, None]
    return costs


def meeting_costs(past: Floats, future: Floats, noise: Floats, scale: Floats) -> Floats:
    """What it costs that two states [5, t, 3] of one instant, by what was before and after, are one's, [t].

    The same as motion_costs for a position that comes with a velocity.
    """
    gap, turn = past[:2] - future[:2]
    own, both, moving = past[2:] + future[2:]
    determinant = own * moving - both * both
    surprise = ((moving * gap - 2.0 * both * turn) * gap + own * turn * turn) / determinant
    motion = 0.5 * (_MOTION_TAIL + 6.0) * np.log1p(surprise.sum(axis=1) / _MOTION_TAIL)
    costs: Floats = motion + 0.5 * np.log((determinant / (noise * _VELOCITY_VARIANCE * scale)).prod(axis=1))
    return costs
