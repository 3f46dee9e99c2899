"""The maths of noise: schedules, parameterisations, samplers, guidance. It sees no network."""
