"""What a leg says and hears."""

from kazoo_rec.simulator import sip


class Voice:
    """The audio of a Leg: of its phone, and of whom or what it hears."""

    @property
    def rate(self) -> int:
        return sip.CODECS[self.phone.codec][2]

    @property
    def says_hz(self) -> int:
        if self.twin is not None:
            return self.twin.hears_hz
        return 0 if self.held else self.tone_hz

    @property
    def hears_hz(self) -> int:
        if self.playing_hz is not None:
            return self.playing_hz
        return self.partner.says_hz if self.partner is not None else 0

    @property
    def hears(self) -> tuple[int, ...]:
        """All tones that it hears at once, Hz."""
        heard = (self.hears_hz,)
        if self.member is not None and self.playing_hz is None:
            heard = self.member.room.heard_by(self)
        if any(not each.is_besides for each in self.displaced.values()):
            heard = ()
        return (*heard, *(each.hz for each in self.displaced.values()))

    @property
    def is_unheard(self) -> bool:
        """Whether nobody writes to it."""
        return self.playing_hz is None and self.partner is None and self.member is None

    def say(self, hz: int):
        """From now on its phone sends this tone, 0 is silence."""
        self.call.settle()
        if not hz and self.tone_hz:
            self.silent_since = self.clock.now
        self.tone_hz = hz
        if hz and self.member is not None:
            self.member.listen()

    def catch_up(self):
        """Everything that is recorded of it takes in what was."""
        for each in (*self.recordings, *self.tapes):
            each.catch_up()

    def lose_media(self):
        """From now on it goes around the switch. Nothing tells."""
        self.call.settle()
        self.media_left = True

    def negotiate(self):
        """Its media runs, if it has any."""
        if self.media and self.twin is None:
            self.variables |= sip.negotiated(self.phone.codec)
