# The server as an image: one static binary, no shell, not root.
#
#   docker build -t im .
#   docker run -p 8080:8080 -p 8081:8081 -p 8082:8082 -v im-data:/data im
#
# runs every role in one process; deploy/compose runs a cluster.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/im ./cmd/im && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/im /im
COPY --from=build --chown=nonroot:nonroot /out/data /data
# A container's loopback address is its own, so it listens on all; what clients are
# told is what the ports above are published as.
ENV IM_DATA_DIR=/data \
    IM_HTTP_LISTEN=0.0.0.0:8080 \
    IM_WEBSOCKET_LISTEN=0.0.0.0:8081 IM_WEBSOCKET_ADVERTISE=localhost:8081 \
    IM_TCP_LISTEN=0.0.0.0:8082 IM_TCP_ADVERTISE=localhost:8082
VOLUME /data
EXPOSE 8080 8081 8082 8083
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["/im", "ready"]
ENTRYPOINT ["/im"]
