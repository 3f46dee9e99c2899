"""What fields of several sections of the configuration may be.

Upper bounds are where a value can only be a mistake, or no machine could hold what it asks for.
"""

from typing import Annotated

from hgdt_jax.schema import Between, Inside, OneOf

MOST_SIZE = 4096  # pixels a side: the frames of one batch would fill a host

Steps = Annotated[int, Between(1, 10**8)]  # a year of three a second
Clips = Annotated[int, Between(1, 10**8)]  # the order of so many takes 800 MB
Scored = Annotated[int, Between(1, 10**6)]  # held in memory: 200 GB at 16 x 64 x 64
Batch = Annotated[int, Between(1, 2**16)]
Frames = Annotated[int, Between(1, 4096)]  # attention compares each with each
Evaluations = Annotated[int, Between(1, 1000)]  # of a network, for one clip: DDPM's own number
Count = Annotated[int, Between(0, 1000)]
Width = Annotated[int, Between(2, 2**14)]  # a 3x3 kernel of the last is 10 GB; halves are taken
Codes = Annotated[int, Between(1, 2**14)]
Size = Annotated[int, Between(0, MOST_SIZE)]  # of maps; 0: none
Patch = Annotated[int, OneOf((1, 2, 4))]
CriticPatch = Annotated[int, OneOf((1, 2, 4, 8))]
Devices = Annotated[int, Between(-1, 10**6)]
Rate = Annotated[float, Inside(0, 1)]  # of learning: Adam moves a parameter by it each step
RateOrNone = Annotated[float, Between(0, 0.99)]
Weight = Annotated[float, Between(0, 10**6)]  # more would drown what it is added to
Share = Annotated[float, Between(0, 1)]
PartialShare = Annotated[float, Between(0, 0.99)]  # something has to be left
Decay = Annotated[float, Between(0, 0.99999)]
