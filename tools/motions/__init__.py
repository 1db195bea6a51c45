"""Motion to render and to train on: recorded clips, hands, virtual cameras."""
