-- Run once, when the volume of Postgres is empty.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
