"""ModelService: a Deployment, its Service, route, autoscaler and disruption budget, and what became of them."""
