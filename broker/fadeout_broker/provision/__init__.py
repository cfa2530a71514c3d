"""Sets up a Mosquitto that only lets in who it should, and checks that it does.

`certificates`, `acl`, `mosquitto_conf` and `handout` make bytes and text from values;
`files` writes them; `folder` knows where each one is; `verbs` are the commands.
"""
