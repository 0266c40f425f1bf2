"""WHAT IS TOLD: commands, events, and the one table of exchanges and queues they travel through."""
