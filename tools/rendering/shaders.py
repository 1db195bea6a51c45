"""Shader text shared by all surfaces, and the programs of things, shadows and ambient occlusion (GLSL 3.30)."""

LENS = """
uniform vec4 lens;   // fx fy cx cy, pixels
uniform vec2 size;   // width height, pixels
uniform vec2 range;  // near far, metres
uniform mat4 T_cam_world;
vec4 project(vec3 world) {
    vec3 p = (T_cam_world * vec4(world, 1.0)).xyz;
    // Row 0 of the frame buffer is the top row of the picture, so y is not turned over.
    vec2 clip = 2.0 * (lens.xy * p.xy + lens.zw * p.z) / size - p.z;
    float depth = ((range.y + range.x) * p.z - 2.0 * range.y * range.x) / (range.y - range.x);
    return vec4(clip, depth, p.z);
}
"""

LIGHT = """
uniform vec3 eye;
uniform vec3 towards; uniform vec3 key; uniform vec3 sky; uniform vec3 ground;
uniform vec3 fill; uniform vec3 fill_towards;
uniform mat4 shadow_of_world;
uniform sampler2DShadow shadow_map;
uniform float shadow_blur;   // half width of the penumbra in the map, 0..1
uniform sampler2D occlusion; // ambient light that reaches a pixel
uniform vec2 size;
float shadow(vec3 world, vec3 n) {
    vec3 p = (shadow_of_world * vec4(world + n * 0.006, 1.0)).xyz;
    if (any(lessThan(p.xy, vec2(0.0))) || any(greaterThan(p.xy, vec2(1.0)))) return 1.0;
    // The pattern turns from pixel to pixel: noise instead of bands.
    float a = 6.2832 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    mat2 turn = mat2(cos(a), sin(a), -sin(a), cos(a)) * shadow_blur;
    float lit = 0.0;
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.0, 0.2), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(-0.5, 0.1), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.45, -0.35), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.1, -0.8), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(0.75, 0.5), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(-0.35, 0.85), p.z));
    lit += texture(shadow_map, vec3(p.xy + turn * vec2(-0.8, -0.55), p.z));
    return lit / 7.0;
}
float open_share() { return texture(occlusion, gl_FragCoord.xy / size).r; }
vec3 ambient(vec3 n, float open) { return mix(ground, sky, 0.5 + 0.5 * n.y) * open; }
"""

THING_VERTEX = (
    """#version 330
"""
    + LENS
    + """
in vec3 xyz; in vec3 normal; in vec2 uv;
out vec3 world; out vec3 n; out vec2 at;
void main() { world = xyz; n = normal; at = uv; gl_Position = project(xyz); }
"""
)

THING_FRAGMENT = """
in vec3 world; in vec3 n; in vec2 at;
uniform sampler2D picture; uniform float gloss; uniform float blotch; uniform bool one_sided;
out vec4 pixel;
void main() {
    vec3 N = normalize(n), V = normalize(eye - world);
    float facing = dot(N, V);
    if (facing < 0.0) { if (one_sided) discard; N = -N; facing = -facing; }
    vec3 albedo = texture(picture, at).rgb;
    albedo *= albedo;
    if (blotch > 0.0) albedo *= 1.0 + blotch * (texture(picture, at.yx * 0.137 + 0.31).g - texture(picture, at, 9.0).g);
    float lit = max(dot(N, towards), 0.0);
#ifdef NEAR
    float bright = lit * shadow(world, N);
    vec3 light = ambient(N, open_share());
#else
    float bright = lit;
    vec3 light = ambient(N, 1.0);
#endif
    light += fill * max(dot(N, fill_towards), 0.0) + key * bright;
    vec3 colour = albedo * light;
    if (gloss > 0.0) {
        float away = 1.0 - facing, away2 = away * away;
        colour = mix(colour, 0.7 * sky, 0.6 * gloss * (0.03 + 0.97 * away2 * away2 * away));
        colour += key * bright * gloss * 0.3 * pow(max(dot(N, normalize(V + towards)), 0.0), 60.0);
    }
    pixel = vec4(colour, 1.0);
}
"""
"""A lit thing; with NEAR defined, the person's shadow may fall on it."""

GLOW_FRAGMENT = """#version 330
in vec3 world; in vec3 n; in vec2 at;
uniform vec3 eye; uniform sampler2D picture; uniform float luminous; uniform bool one_sided;
out vec4 pixel;
void main() {
    if (one_sided && dot(n, eye - world) < 0.0) discard;
    vec3 seen = texture(picture, at).rgb;
    pixel = vec4(seen * seen * luminous, 1.0);
}
"""

DEPTH_VERTEX = """#version 330
uniform mat4 shadow_of_world;
in vec3 xyz;
void main() { gl_Position = vec4((shadow_of_world * vec4(xyz, 1.0)).xyz * 2.0 - 1.0, 1.0); }
"""

DEPTH_FRAGMENT = """#version 330
void main() {}
"""

EYE_DEPTH_VERTEX = (
    """#version 330
"""
    + LENS
    + """
in vec3 xyz;
void main() { gl_Position = project(xyz); }
"""
)

FULL_VERTEX = """#version 330
in vec2 corner;
void main() { gl_Position = vec4(corner, 0.0, 1.0); }
"""

OCCLUSION_FRAGMENT = """#version 330
uniform sampler2D depths; uniform vec4 lens; uniform vec2 size; uniform vec2 range; uniform vec2 half_size;
uniform float radius_m;
out float open;
float metres(vec2 px) {
    float d = texture(depths, px / size).r * 2.0 - 1.0;
    return 2.0 * range.x * range.y / (range.y + range.x - d * (range.y - range.x));
}
vec3 place(vec2 px) { float z = metres(px); return vec3((px - lens.zw) / lens.xy * z, z); }
void main() {
    vec2 px = gl_FragCoord.xy * size / half_size;
    vec3 p = place(px);
    if (p.z > 0.5 * range.y) { open = 1.0; return; }
    vec3 l = p - place(px - vec2(2, 0)), rr = place(px + vec2(2, 0)) - p;
    vec3 u = p - place(px - vec2(0, 2)), d = place(px + vec2(0, 2)) - p;
    vec3 dx = abs(l.z) < abs(rr.z) ? l : rr, dy = abs(u.z) < abs(d.z) ? u : d;
    vec3 n = normalize(cross(dy, dx));
    if (dot(n, p) > 0.0) n = -n;
    float start = 6.2832 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    float sum = 0.0;
    for (int k = 0; k < 14; k++) {
        float s = (float(k) + 0.6) / 14.0, a = start + 2.399963 * float(k);
        // Half of the taps look near (fingers), half far (limbs).
        float reach = radius_m * s * s * lens.x / p.z + 1.5;
        vec3 v = place(px + reach * vec2(cos(a), sin(a))) - p;
        float len = length(v);
        sum += max(dot(n, v) / (len + 1e-5) - 0.12, 0.0) * smoothstep(2.2 * radius_m, 0.4 * radius_m, len);
    }
    open = clamp(1.0 - 1.9 * sum / 14.0, 0.12, 1.0);
}
"""
