# Kiln's own image: `kiln build <this repository>@<commit>` makes it. FROM base is the image that
# templates/kiln/template.lock names; app/ is the commit, deps/ what its package-lock.json names.
# The Dockerfile at the repository's top says the same as the one in templates/kiln/.
FROM base AS prepare
WORKDIR /app
COPY deps/ /app/
# What packages bring for other machines, for compilers and for editors.
RUN rm -r node_modules/@temporalio/core-bridge/sdk-core && \
    find node_modules -type f \( -name "*.d.ts" -o -name "*.d.mts" -o -name "*.d.cts" -o -name "*.map" \) -delete && \
    find node_modules/@temporalio/core-bridge/releases -mindepth 1 -maxdepth 1 ! -name x86_64-unknown-linux-gnu -exec rm -r {} +

FROM base
WORKDIR /app
ENV NODE_ENV=production HOME=/var/lib/kiln USER=kiln KILN_HOME=/var/lib/kiln
COPY --from=prepare /app/ /app/
COPY ["app/LICENSE", "app/package.json", "app/package-lock.json", "/app/"]
COPY app/bin/ /app/bin/
COPY app/scripts/env.sh /app/scripts/
COPY app/signing/ /app/signing/
COPY app/src/ /app/src/
COPY app/templates/ /app/templates/
COPY app/workflows/ /app/workflows/
# As set-up does it. The workflows' bundler needs a place for programs of its own, which a running Kiln has not.
RUN ["env", "HOME=/tmp", "node", "src/main/compile.ts"]
# The proof that everything starts that Kiln starts.
RUN mkdir -m 0700 /var/lib/kiln && chown 901:901 /var/lib/kiln && \
    NODE_DISABLE_COMPILE_CACHE=1 sh bin/kiln --version && temporal --version && haproxy -v && git --version
USER 901:901
ENTRYPOINT ["tini", "--"]
CMD ["sh", "bin/kiln-supervisor"]
