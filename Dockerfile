# The published image: the binary and nothing else. goreleaser and .ci/release lay the binaries out by
# platform, so nothing is run in here and no platform is emulated. To build from source, see
# examples/Dockerfile.
FROM scratch
ARG TARGETPLATFORM
COPY --chmod=0755 $TARGETPLATFORM/lull /lull
# By number, so that runAsNonRoot can be checked without a runAsUser.
USER 65532:65532
ENTRYPOINT ["/lull"]
