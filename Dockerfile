# syntax=docker/dockerfile:1
# The API with Microsoft's ODBC driver 18 and PostgreSQL's, as an unprivileged user.
# Microsoft's driver is part of the package mssql-python, so no other package source is needed. It
# also needs Kerberos' libraries and the driver manager (libodbc2, which pyodbc's wheel lacks). Its
# licence is Microsoft's own.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY requirements.txt requirements-dev.txt ./
# The environment is made without pip, and without Arrow, which is larger than the rest and only loads
# trips into the embedded database. The driver's version is the tested one.
RUN sed '/^pyarrow/d' requirements.txt > run.txt \
    && sed -n '/^mssql-python==/p' requirements-dev.txt >> run.txt \
    && python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir -r run.txt
# The wheel has a driver for each distribution. One is kept and registered by name, so that
# `Driver={ODBC Driver 18 for SQL Server}` finds it.
RUN set -eu; \
    linux="$(/opt/venv/bin/python -c 'import mssql_python_odbc as m; print(m.__path__[0])')/libs/linux"; \
    rm -r "$linux/rhel" "$linux/suse"; \
    driver="$(find "$linux/debian_ubuntu" -name 'libmsodbcsql-18*.so*')"; \
    test -f "$driver"; \
    printf '[ODBC Driver 18 for SQL Server]\nDriver=%s\n' "$driver" > /build/odbcinst.ini

FROM ${PYTHON_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgssapi-krb5-2 libkrb5-3 libodbc2 odbc-postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin api \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/cache/sql-procedures-api
COPY --from=build /opt/venv /opt/venv
COPY --from=build /build/odbcinst.ini /tmp/odbcinst.ini
RUN cat /tmp/odbcinst.ini >> /etc/odbcinst.ini && rm /tmp/odbcinst.ini
WORKDIR /app
COPY . .
# The workers' shared files are in the only folder that belongs to the user.
ENV LOCAL_DIR=/var/cache/sql-procedures-api
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PORT=8000
# By number, because a cluster that requires a non-root user can't look up a name.
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health/live\", timeout=2)"]
# The control socket is unused and would need a home directory. /dev/shm is writable in a read-only
# container too, and a slow disk can't delay a worker's heartbeat there.
CMD ["sh", "-c", "exec gunicorn --no-control-socket --worker-tmp-dir /dev/shm --bind 0.0.0.0:$PORT app:app"]
