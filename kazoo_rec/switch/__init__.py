"""One FreeSWITCH over its event socket: a link for events, a pool for commands, and the words of both."""
