# The reference server: docker build -t fairlead . && docker run -p 34904:34904 -v fairlead:/data -e FAIRLEAD_INSECURE=true fairlead
# See docs/deploy.md. .ci/check-image runs these instructions without a container engine.
ARG NODE_VERSION=22

# Everything that is built here is the same on every platform: JavaScript, and the binaries of classic-level for all.
FROM --platform=$BUILDPLATFORM node:${NODE_VERSION}-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm pack --silent --pack-destination /tmp
WORKDIR /app
# The optional packages, in the versions that were tested: classic-level for /data, the others for --jetstream.
# hadolint ignore=DL3016
RUN lock=/src/package-lock.json; \
    version() { node -p "'$1@' + require('$lock').packages['node_modules/$1'].version"; }; \
    npm install --ignore-scripts --omit=dev --no-audit --no-fund /tmp/fairlead-*.tgz \
      "$(version classic-level)" "$(version @nats-io/transport-node)" "$(version @nats-io/jetstream)"

FROM node:${NODE_VERSION}-alpine
LABEL org.opencontainers.image.title="Fairlead" \
      org.opencontainers.image.description="Reference server of distributed-systems primitives" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production \
    PATH=/app/node_modules/.bin:$PATH \
    FAIRLEAD_HOST=0.0.0.0
COPY --from=build /app /app
# Without --jetstream the data is in /data/fairlead-data. Nothing else is written: the root file system may be read-only.
RUN install -d -m 0700 -o 65532 -g 65532 /data
WORKDIR /data
VOLUME /data
USER 65532:65532
EXPOSE 34904
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["fairlead", "health"]
ENTRYPOINT ["fairlead"]
CMD ["serve"]
