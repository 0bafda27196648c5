# The image of every part of Airflow in docker-compose.yml and docs/deploy.md: code, DAGs and pinned packages; no settings,
# no secrets. What makes it differ from a checkout is nothing but these lines.
FROM python:3.11.14-slim-bookworm

ENV PATH=/srv/venv/bin:$PATH PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

COPY requirements.cluster.lock /tmp/requirements.lock
RUN python -m venv /srv/venv \
    && pip install --require-hashes --no-deps -r /tmp/requirements.lock \
    && pip check \
    && rm /tmp/requirements.lock

# Belongs to root and is compiled here: the user below can read it and change nothing.
COPY etl /srv/tollbook/etl
COPY reports /srv/tollbook/reports
COPY templates /srv/tollbook/templates
COPY stack /srv/tollbook/stack
COPY watch /srv/tollbook/watch
COPY dags /srv/tollbook/dags
RUN python -m compileall -q /srv/tollbook \
    && useradd --uid 50000 --gid 0 --home-dir /srv/airflow --create-home tollbook \
    && chmod 0770 /srv/airflow

USER 50000:0
WORKDIR /srv/tollbook
CMD ["airflow", "version"]
