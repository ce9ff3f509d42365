"""moto in process, with the actions and the behaviour that it lacks. One module for each AWS service."""
