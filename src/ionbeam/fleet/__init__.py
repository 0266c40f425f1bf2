"""THE DEVICES: registry, twin, commands, logs, measurement frames."""
