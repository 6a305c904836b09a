# ingressd in an image: python:3.11-slim and a venv, without root, without a writable file system.
#
#   docker build -t ingressd .
#   docker run -v ./manifests:/etc/ingressd/manifests:ro -p 8080:8080 -p 8443:8443 ingressd
#
# Without a network: put wheels into .wheels/ (scripts/e2e-docker shows how), and build with
#   --build-arg BASE=an-image-with-python3 --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/wheels

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# pip has a venv of its own, so that the one which goes into the image has none.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/ingressd
WORKDIR /src
# .wheels* and not .wheels: the folder may be missing, and then COPY still has constraints.txt to copy.
COPY constraints.txt .wheels* /wheels/
COPY pyproject.toml ./
# The dependencies alone: an edit of the code leaves this layer as it is.
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && /pip/bin/pip --python /opt/ingressd/bin/python3 install -c /wheels/constraints.txt -r requirements.txt
COPY LICENSE README.md ./
COPY ingressd ingressd
RUN /pip/bin/pip --python /opt/ingressd/bin/python3 install --no-deps .

FROM ${BASE}
# A fixed number, so that the owner of mounted files can be chosen to fit.
RUN groupadd --system --gid 10001 ingressd \
    && useradd --system --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin ingressd \
    && mkdir -p /etc/ingressd/manifests
COPY --from=build /opt/ingressd /opt/ingressd
ENV PATH=/opt/ingressd/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /etc/ingressd
EXPOSE 8080 8443 9080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["python3", "-c", "\
import http.client, os, ssl; \
address = '127.0.0.1', int(os.environ.get('INGRESSD_ADMIN_PORT', 9080)); \
tls = {'context': ssl._create_unverified_context()} if os.environ.get('INGRESSD_ADMIN_CERTIFICATE') else {}; \
admin = (http.client.HTTPSConnection if tls else http.client.HTTPConnection)(*address, timeout=2, **tls); \
admin.request('GET', '/readyz'); \
raise SystemExit(admin.getresponse().status != 200)"]
ENTRYPOINT ["ingressd"]
CMD ["run", "/etc/ingressd/manifests"]
