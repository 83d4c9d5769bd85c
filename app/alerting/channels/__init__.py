"""The channels of notifications: their kinds, formats, and delivery."""
