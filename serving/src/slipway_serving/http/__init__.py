"""HTTP/1.1 as this server needs it: requests read whole and within limits, answers written at once or streamed."""
