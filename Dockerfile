# outspool over stdio:           docker run --rm -i -v outspool:/data --env-file .env outspool
# a dispatcher beside others:    docker run -v outspool:/data --env-file .env outspool worker
# outspool over HTTP:            docker run --network host -v outspool:/data --env-file .env outspool serve
#
# `serve` listens on loopback alone, so it wants the host's network (or that of another container).

# The tag names one version in full; who needs one very image appends the digest that their registry shows for it.
FROM python:3.13.13-slim-trixie AS build
RUN python -m venv /opt/build && python -m venv --without-pip /opt/outspool
WORKDIR /source
COPY locks locks
# Every file is held against its hash, those of the build backend too.
RUN /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r locks/build.txt \
    && /opt/build/bin/uv pip install --no-cache --python /opt/outspool/bin/python --require-hashes -r locks/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY migrations migrations
RUN /opt/build/bin/hatchling build --target wheel --directory /wheel \
    && /opt/build/bin/uv pip install --no-cache --python /opt/outspool/bin/python --no-deps /wheel/*.whl

FROM python:3.13.13-slim-trixie
# The volume inherits this owner when it is made.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin outspool \
    && install --directory --owner=outspool --group=outspool --mode=0700 /data
COPY --from=build /opt/outspool /opt/outspool
ENV PATH=/opt/outspool/bin:$PATH \
    OUTSPOOL_DATA_DIR=/data \
    PYTHONUNBUFFERED=1
USER 10001
VOLUME /data

# `serve` is healthy when it answers. Over stdio, and as a worker, nothing listens: there the process that runs is all
# there is to see, and the container ends with it. With another --port give docker run a --health-cmd of your own.
HEALTHCHECK --start-period=20s --interval=30s --timeout=5s \
    CMD ! grep --quiet --null-data --line-regexp serve /proc/1/cmdline \
        || python -c "from http.client import HTTPConnection as Http; server = Http('127.0.0.1', 8000, timeout=4); \
            server.request('GET', '/healthz'); raise SystemExit(server.getresponse().status != 200)"

ENTRYPOINT ["outspool"]
