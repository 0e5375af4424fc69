# Two stages of one distribution: build the environment, then run it as nobody with nothing but it.
FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python -m venv /app
COPY requirements/run.txt requirements/run.txt
RUN /app/bin/pip install --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY policies policies
RUN /app/bin/pip install --no-deps --no-build-isolation . && /app/bin/python -m compileall -q /app/lib

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="ebbgate" \
      org.opencontainers.image.description="A first-party, consent-aware event gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
# The collection host listens to the outside of the container; the admin host stays inside it.
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 EBBGATE_SERVER__HOST=0.0.0.0
COPY --from=build /app /app
RUN install -d -o 10001 -g 10001 /srv/ebbgate /srv/ebbgate/data /srv/ebbgate/keys
WORKDIR /srv/ebbgate
USER 10001:10001
VOLUME ["/srv/ebbgate/data", "/srv/ebbgate/keys"]
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["ebbgate", "doctor", "--local"]
ENTRYPOINT ["ebbgate"]
CMD ["serve"]
