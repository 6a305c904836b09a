#!/bin/sh
# Make an authority for clients and a certificate for alice in a folder, and print the manifests that ask for it.
#
#   sh examples/ingress-nginx/mtls.sh certs > examples/ingress-nginx/mtls.yaml
set -eu
folder=${1:?name a folder, such as certs}
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -batch "$@" 2>&1; }
cd "$folder"
umask 077
{
  new -x509 -days 30 -subj '/CN=clients' -keyout clients.key -out clients.crt \
    -addext basicConstraints=critical,CA:TRUE
  new -subj '/CN=alice' -keyout alice.key -out alice.csr
  openssl x509 -req -in alice.csr -CA clients.crt -CAkey clients.key -CAcreateserial -days 30 -out alice.crt
} >&2

cat <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: clients
type: Opaque
stringData:
  ca.crt: |
$(sed 's/^/    /' clients.crt)
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: partners
  annotations:
    nginx.ingress.kubernetes.io/auth-tls-secret: default/clients
    nginx.ingress.kubernetes.io/auth-tls-verify-client: "on"
    nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream: "true"
spec:
  ingressClassName: nginx
  tls:
  - hosts: [partners.localhost]
    secretName: partners-tls
  rules:
  - host: partners.localhost
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: app
            port:
              number: 80
YAML
