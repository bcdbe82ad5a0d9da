"""A FreeSWITCH that needs no FreeSWITCH: it speaks the event socket, plays scripted calls and writes real WAV files."""
