"""What the motion stage makes of bad proxies: real takes spoiled in many ways, and what comes out measured."""
