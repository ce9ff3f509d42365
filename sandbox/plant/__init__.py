"""The plant: what happens behind the AWS endpoint, with real processes behind a real load balancer."""
