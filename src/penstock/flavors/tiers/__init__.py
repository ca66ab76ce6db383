"""Which of the tiers a model is served by: the candidates, the proof on probe rows, the choice."""
