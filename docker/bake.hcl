# docker buildx bake -f docker/bake.hcl            the images for this machine
# docker buildx bake -f docker/bake.hcl --push     with REGISTRY and TAG set: as a release does it
variable "REGISTRY" { default = "localhost" }
variable "TAG" { default = "dev" }
# Of operator and relay, as linux/amd64,linux/arm64: libtorch's wheel is for amd64 alone.
variable "PLATFORMS" { default = "" }

function "light" {
  params = [item]
  result = contains(["operator", "relay"], item)
}

group "default" {
  targets = ["operator", "relay", "layer", "designer"]
}

target "image" {
  name       = item
  matrix     = { item = ["operator", "relay", "layer", "designer"] }
  context    = "."
  dockerfile = "docker/Dockerfile"
  target     = item
  tags       = ["${REGISTRY}/mixnn-${item}:${TAG}"]
  platforms  = compact(split(",", light(item) ? PLATFORMS : ""))
  args       = { SOURCE_DATE_EPOCH = "0", NAMES = light(item) ? "operator relay" : "layer designer" }
  attest     = ["type=sbom", "type=provenance,mode=max"]
}

# Layers on NVIDIA GPUs: libtorch with CUDA 13, some 5 GB.
target "layer-cuda" {
  context    = "."
  dockerfile = "docker/Dockerfile"
  target     = "layer"
  tags       = ["${REGISTRY}/mixnn-layer:${TAG}-cuda"]
  args       = { MIXNN_CUDA = "1", SOURCE_DATE_EPOCH = "0", NAMES = "layer" }
}
