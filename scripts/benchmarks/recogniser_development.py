"""What the recogniser's thresholds were chosen on: `scripts/bench recogniser --development`.

Other sentences than those of `recogniser_speech.py`, by other voices (Debian's festival),
in other noises and rooms. Many are nearly a sentence of the list, and nearly one that erases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recogniser_speech import Clip, Condition, inside

if TYPE_CHECKING:
    from fadeout_device.actions import Actions

PROGRAM = "text2wave"
VOICES = ("festival:kal_diphone", "festival:ked_diphone", "festival:cmu_us_slt_arctic_hts")
CONDITIONS = {
    "clean": Condition(),
    "noise, 20 dB": Condition(20, noise="brownnoise"),
    "noise, 10 dB": Condition(10, noise="brownnoise"),
    "noise, 5 dB": Condition(5, noise="whitenoise"),
    "small room": Condition(effect="reverb 40 50 35"),
    "large room": Condition(effect="reverb 70 40 90"),
    "large room, noise, 10 dB": Condition(10, "reverb 70 40 90", "brownnoise"),
}
_SEED = 7
_OUTSIDE = """
forget about it i will do it myself
i forget everything when i am tired
forget everything they told you about the party
never forget the last ten dollars you owe me
do not forget what i gave you
forget what the teacher said about it
stop listening to that awful music
stop whistling in the kitchen
they stopped listening after a while
what do you have for lunch
what do you have in your hand
what do you think of me
what did you have on monday
that was not for sale
that wasn't very nice of you
that was a gift for you
yes i forget every time
yes everything is fine
forgive me everything
everything i said today was true
turn on your side and sleep
turn up your collar it is windy
turn down the offer politely
turn off at the second exit
turn it over and look underneath
switch off your engine at the lights
switch on your brain before you speak
the light in the hall is very bright
all the lights were red this morning
make it quick please
make the bed before you leave
make me a sandwich with cheese
make some noise for the band
play the piano for your grandmother
play some football in the park
play nicely with the other children
stop the car at the corner
stop the thief he has my bag
skip the queue and go right in
set a place at the table for her
set a good example for the others
start a new page for each chapter
start a fire before it gets dark
cancel the order and ask for your money
cancel the newspaper when we travel
what time did they leave the office
what is the time table of the ferry
tell me the truth about that money
tell me the name of the singer
what is the weather station for
what will the neighbours think tomorrow
how warm was the water in the lake
how cold it was that winter
the heating needs a new pump
open the bottle carefully
open the letter from the bank
open the garden gate for the dog
close the book and listen
close the office at six on fridays
close to the river is a mill
lock the bicycle to the fence
lock the drawer with the small key
good night kisses are for children
good nights are rare in this town
we are going to bedford by train
we are leaving the decision to you
we are leaving for spain on sunday
i am leaving the door open for the cat
i am leaving a note on the table
the coffee machine is broken again
some coffee would be lovely
next summer we will paint the house
next door lives a retired sailor
this song reminds me of you
brighten your smile with this paste
dim lights make me sleepy
the volume of traffic is rising
the timer on the oven is too loud
ten minutes is not very long
the bedroom is upstairs on the left
the curtains are too short
your alarm clock is annoying
the radio played our song yesterday
quiet music helps me to work
my cousin is getting married in june
the library has a new reading room
you should see a dentist about that
this road leads to the old harbour
he repairs watches and clocks
our train leaves from platform nine
the baker knows all his customers
she was born on a farm in wales
we ran out of flour and eggs
the dog is barking at the postman
it costs more than i expected
nobody answered the telephone
they are building a bridge over there
your shoes are by the stairs
i would like two tickets for tonight
the soup needs a little more pepper
"""


def clips(actions: Actions) -> list[Clip]:
    """Return everything that is said: clean every second sentence, else every fifth."""
    others = [text for text, _ in inside(actions)]
    said: list[tuple[str, str | None]] = [*inside(actions, _SEED, others)]
    said += [(text, None) for text in _OUTSIDE.strip().splitlines()]
    return [
        Clip(voice, condition, text, action, how)
        for condition, how in CONDITIONS.items()
        for at, voice in enumerate(VOICES)
        for text, action in said[at :: 2 if condition == "clean" else 5]
    ]
