"""Between bytes on the wire and arrays: the Open Inference Protocol V2 (`v2`) and the plain case (`plain`)."""
