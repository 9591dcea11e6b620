# Microbleeds as a BIDS App. It needs no network at run time and does not run as root:
#   docker build -t microbleeds .
#   docker run --rm --network none -u $(id -u):$(id -g) -v /study:/data:ro -v /results:/out \
#     microbleeds /data /out participant
FROM python:3.11-slim AS build
COPY . /source
RUN python -m venv /opt/microbleeds \
    && /opt/microbleeds/bin/pip install --no-cache-dir "/source[cohort]"

FROM python:3.11-slim
COPY --from=build /opt/microbleeds /opt/microbleeds
# the home of whoever runs it may not be there to write to
ENV PATH=/opt/microbleeds/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
USER 1000:1000
ENTRYPOINT ["microbleeds-bids"]
