"""SUPIR: restoration by SDXL, guided by the degraded image (Yu et al., CVPR 2024)."""
