"""The one Airflow plugin of Headroom. It has no parts yet: DAGs import `headroom_airflow` by name."""

from airflow.plugins_manager import AirflowPlugin


class HeadroomPlugin(AirflowPlugin):
    name = "headroom"
