"""The local cloud: the synthesized templates, provisioned and made to move on this machine."""
