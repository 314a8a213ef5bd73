"""Where the time goes under load: samples of stacks, by component and as flame graphs."""
