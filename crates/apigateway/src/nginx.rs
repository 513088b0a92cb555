//! The configuration of an nginx before the gateway (spec 03 §7): TLS, HTTP/2, compression, the streams that must not be held back, and the
//! limits of the rest.

/// What is different at each place.
#[derive(Clone, Debug)]
pub struct Site {
    pub server_name: String,
    /// `host:port` of the gateway.
    pub upstream: String,
    /// Whether the gateway speaks TLS itself.
    pub upstream_tls: bool,
    pub certificate: String,
    pub private_key: String,
    /// Ports of HTTPS, and of HTTP that only leads there.
    pub https: u16,
    pub http: u16,
    /// Whether the module for brotli is there.
    pub brotli: bool,
}

/// The configuration of one site, for `conf.d` or `sites-enabled`.
pub fn config(site: &Site) -> String {
    let Site { server_name, upstream, upstream_tls, certificate, private_key, https, http, brotli } = site;
    let scheme = if *upstream_tls { "https" } else { "http" };
    let brotli = if *brotli { "    brotli on;\n    brotli_comp_level 4;\n    brotli_types application/json text/plain;\n" } else { "" };
    let forward = "proxy_http_version 1.1;\n        proxy_set_header Host $http_host;\n        proxy_set_header X-Real-IP $remote_addr;\n        \
                   proxy_set_header X-Forwarded-For $remote_addr;\n        proxy_set_header X-Forwarded-Proto $scheme;\n        \
                   proxy_set_header Connection \"\";";
    format!(
        r#"# nginx before the web console. Start the gateway with --url https://{server_name}, so that its cookies are for TLS only.

map $http_upgrade $wolke_connection {{
    default upgrade;
    ''      '';
}}

# Logins are slowed down here as well as there.
limit_req_zone $binary_remote_addr zone=wolke_login:1m rate=30r/m;

upstream wolke_gateway {{
    server {upstream};
    keepalive 32;
}}

server {{
    listen {http};
    server_name {server_name};
    return 308 https://$host$request_uri;
}}

server {{
    listen {https} ssl http2;
    server_name {server_name};
    server_tokens off;

    ssl_certificate     {certificate};
    ssl_certificate_key {private_key};
    ssl_protocols       TLSv1.2 TLSv1.3;
    ssl_session_cache   shared:wolke_tls:4m;
    ssl_session_timeout 1d;
    ssl_session_tickets off;
    add_header Strict-Transport-Security "max-age=31536000; includeSubDomains" always;

    client_header_timeout 20s;
    client_body_timeout   20s;
    send_timeout          60s;
    client_max_body_size  8m;
    large_client_header_buffers 4 16k;
    underscores_in_headers on;

    # The console's files come compressed from the gateway; this is for answers of the interface.
    gzip on;
    gzip_comp_level 5;
    gzip_min_length 1024;
    gzip_proxied any;
    gzip_types application/json text/plain;
{brotli}
    # Files with a hash in their name: kept by browsers for a year, as the gateway says.
    location /assets/ {{
        proxy_pass {scheme}://wolke_gateway;
        {forward}
    }}

    location = /api/v1/auth/login {{
        limit_req zone=wolke_login burst=20 nodelay;
        limit_req_status 429;
        proxy_pass {scheme}://wolke_gateway;
        {forward}
    }}

    # Live changes: never held back, open for as long as the page is.
    location ~ ^/api/v[12]/live$ {{
        proxy_pass {scheme}://wolke_gateway;
        {forward}
        proxy_buffering off;
        proxy_cache off;
        gzip off;
        proxy_read_timeout 24h;
    }}

    # Consoles of servers: WebSockets.
    location ~ ^/(api/v[12]/consoles|websockify|wsproxy|connect)(/|$) {{
        proxy_pass {scheme}://wolke_gateway;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $wolke_connection;
        proxy_read_timeout 24h;
        proxy_send_timeout 24h;
    }}

    # Images and other files: of any size, passed on as they come.
    location ~ ^/api/(v[12]/(imageutils|s3uploads|uploads)|s/image)/ {{
        client_max_body_size 0;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_read_timeout 6h;
        proxy_send_timeout 6h;
        proxy_pass {scheme}://wolke_gateway;
        {forward}
    }}

    location /api/s/ {{
        client_max_body_size 0;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_read_timeout 6h;
        proxy_pass {scheme}://wolke_gateway;
        {forward}
    }}

    location / {{
        proxy_pass {scheme}://wolke_gateway;
        {forward}
        proxy_read_timeout 600s;
        proxy_buffers 32 16k;
    }}
}}
"#
    )
}
